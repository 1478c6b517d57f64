"""What attacks on relaxed strings share: mixtures of tokens, moved by gradients and made tokens again."""
