"""What runs jobs and delivers notifications."""
