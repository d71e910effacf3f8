"""What our web servers have in common."""
