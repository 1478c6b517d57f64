"""How large a submission may be. Everything that is read of one is bounded by these numbers before it is read."""

from __future__ import annotations

FORMAT = 1

MAX_FILE_BYTES = 256 * 2**20  # of a submission, or of the table of an entry
MAX_MANIFEST_BYTES = 2**16
MAX_SPEC_BYTES = 2**20  # as for every spec file
MAX_CELLS_BYTES = 64 * 2**20  # all manifests of cells
MAX_ENTRY_BYTES = 96 * 2**20  # the JSON of an entry: manifests, indented, and the spec

MAX_JSON_VALUES = 3_000_000  # in one JSON file, counted by their punctuation before it is parsed
MAX_JSON_DEPTH = 32
MAX_STRING_BYTES = 2**16  # any string, attack strings and answers included

MAX_CELLS = 10_000
MAX_ROWS = 20_000_000  # of the table: one per example and step
MAX_CELL_ROWS = 2_000_000
MAX_EXAMPLES = 20_000  # of one cell
MAX_STEPS = 100_000  # of one example
MAX_EXAMPLE_STEPS = 20_000_000  # examples × full budget in steps, all cells together: what the curves are computed on

MAX_FOOTER_BYTES = 16 * 2**20  # of the Parquet file
MAX_GROUP_ROWS = 2**16  # of a row group, the unit that is decoded at once
MAX_GROUP_BYTES = 64 * 2**20  # its size decoded
MAX_GROUPS = 8192

MAX_MEMORY_BYTES = 4 * 2**30  # address space of the process that reads a file nobody has checked yet
MAX_CPU_SECONDS = 1800  # of that process
MAX_LISTED = 20  # problems that a report lists
MAX_VERDICTS = 10_000  # combinations of right label, label said and success that are put to the judge again
