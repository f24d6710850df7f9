"""The paper: anchors, trunk, FPN, heads, labels, losses, detections, optimizers."""
