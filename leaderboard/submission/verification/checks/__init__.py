"""What records must be consistent in, whoever made them: one kind of check in each module, reasons in words."""
