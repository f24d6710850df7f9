"""Figures by the rules of COCO, VOC and Open Images; curves, calibration."""
