"""What a run counted, made readable: text tables and the comparison of runs."""
