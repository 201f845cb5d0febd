"""The engine `cascade`: a conversation from a recognizer, a language model and a voice, on the grid."""
