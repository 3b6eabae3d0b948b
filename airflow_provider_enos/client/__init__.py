"""The HTTP drivers. They send the bytes that ``protocol`` decides on, and decide nothing themselves."""
