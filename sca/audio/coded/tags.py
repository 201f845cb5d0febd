"""Tags that other programs leave at the ends of recordings, and between recordings that are joined."""

__all__ = ["ID3_HEADER_BYTES", "TAGS", "id3_bytes"]

TAGS = (b"ID3", b"TAG", b"APETAGEX", b"LYRICS")
"""The first bytes of tags: ID3v2, ID3v1, APE, Lyrics3. They hold no sound."""
ID3_HEADER_BYTES = 10
_FOOTER_BYTES = 10
_HAS_FOOTER = 0x10
_UNUSED_FLAGS = 0x0F


def id3_bytes(head: bytes) -> int:
    """Return the length of an ID3v2 tag with its header and footer; 0 if no such tag begins there.

    Source: ID3v2.4, sections 3.1 and 3.4.

    Args:
        head: The first `ID3_HEADER_BYTES` bytes.
    """
    if len(head) < ID3_HEADER_BYTES or head[:3] != b"ID3" or 0xFF in head[3:5]:
        return 0
    if head[5] & _UNUSED_FLAGS or any(byte & 0x80 for byte in head[6:]):
        return 0
    size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    return ID3_HEADER_BYTES + size + (_FOOTER_BYTES if head[5] & _HAS_FOOTER else 0)
