"""The findings of "Scaling Trends in Language Model Robustness" (arXiv 2407.18213), looked for in runs."""
