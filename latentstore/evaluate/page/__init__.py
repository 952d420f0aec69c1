"""The page that shows an evaluation of images."""
