"""The plumbing of the TinyAgent course: one module per job, one notebook per idea."""
