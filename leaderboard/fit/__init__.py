"""Curves with intervals: the estimators behind ``harness fit`` and the page. numpy and scipy alone."""
