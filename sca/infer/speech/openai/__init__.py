"""The engine openai: voices of servers with the speech API of OpenAI."""
