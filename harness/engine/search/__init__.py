"""Many attack steps side by side: requests checked, sent on, metered and judged, and a row for each. Loads no torch."""
