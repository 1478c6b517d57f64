"""Figures for papers, drawn by matplotlib from the same data as the site: `harness plot`."""
