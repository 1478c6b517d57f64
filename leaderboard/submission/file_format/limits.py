"""How large a submission may be. Everything that is read of one is bounded by these numbers before it is read."""

from __future__ import annotations

FORMAT = 1

FILE_BYTES = 256 * 2**20  # of a submission, or of the table of an entry
MANIFEST_BYTES = 2**16
SPEC_BYTES = 2**20  # as for every spec file
CELLS_BYTES = 64 * 2**20  # all manifests of cells
ENTRY_BYTES = 96 * 2**20  # the JSON of an entry: manifests, indented, and the spec

JSON_VALUES = 3_000_000  # in one JSON file, counted by their punctuation before it is parsed
JSON_DEPTH = 32
STRING_BYTES = 2**16  # any string, attack strings and answers included

CELLS = 10_000
ROWS = 20_000_000  # of the table: one per example and step
CELL_ROWS = 2_000_000
EXAMPLES = 20_000  # of one cell
STEPS = 100_000  # of one example
GRID = 20_000_000  # examples × full budget in steps, all cells together: what the curves are computed on

FOOTER_BYTES = 16 * 2**20  # of the Parquet file
GROUP_ROWS = 2**16  # of a row group, the unit that is decoded at once
GROUP_BYTES = 64 * 2**20  # its size decoded
GROUPS = 8192

MEMORY_BYTES = 4 * 2**30  # address space of the process that reads a file nobody has checked yet
CPU_SECONDS = 1800  # of that process
SHOWN = 20  # problems that a report lists
VERDICTS = 10_000  # combinations of right label, label said and success that are put to the judge again
