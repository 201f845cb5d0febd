"""Live commentary on video: capture, a policy of when to look and speak, vision engines, a server and its page."""
