"""What a grading server's answers teach: its seconds, its reference, and how it reads masks."""
