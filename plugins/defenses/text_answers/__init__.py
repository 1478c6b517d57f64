"""Defenses of victims that answer in text: harmful prompts are to be refused, benign ones answered; one file each."""
