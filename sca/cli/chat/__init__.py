"""The command `sca chat`: a conversation by typed text or by voice."""
