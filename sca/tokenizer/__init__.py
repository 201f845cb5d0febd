"""Text tokenizers: `builtin:qwen`, a local folder, or a model on the Hugging Face hub."""

from sca.tokenizer.base import BUILTIN_QWEN, TextTokenizer, default_cache_dir, load_tokenizer, system_turn

__all__ = ["BUILTIN_QWEN", "TextTokenizer", "default_cache_dir", "load_tokenizer", "system_turn"]
