"""What is done with a detector beyond one picture: tiles, passes, videos."""
