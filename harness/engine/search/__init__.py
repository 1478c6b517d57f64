"""Many attack steps side by side: requests checked, routed, paid for and judged, and a row for each. Loads no torch."""
