"""Language models: the interface, a client of OpenAI-compatible servers, and a llama.cpp server on this machine."""
