"""What a notebook displays of an object: a line of text, or a block of HTML with its numbers and its sound.

A block needs no file, network or script.
"""
