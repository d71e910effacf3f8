"""What is sent to servers of others: submissions, and notifications of a job's end."""
