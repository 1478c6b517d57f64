"""A spec becomes a folder of records: planned, prepared, attacked, judged, written."""
