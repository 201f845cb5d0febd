"""What is learned: the kinds of labels with their weights, the loss, and logits only where labels are."""
