"""Keeps plugins and libraries from harming the process: what they change, print, leave open or never finish is undone,
bounded, ended and reported.
"""
