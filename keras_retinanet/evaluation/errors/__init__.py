"""What is wrong with detections, and what it costs."""
