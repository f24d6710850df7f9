"""What takes how long: measurements of the parts that the other rooms made."""
