"""Parts of an encoded image, and orientation by EXIF."""
