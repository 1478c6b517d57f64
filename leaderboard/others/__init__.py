"""What others say of a row: strings that break it, the same cells run again, and notes of the board's maintainer."""
