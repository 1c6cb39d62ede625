"""Fake of google.colab: local folders stand for the user's Drive and computer."""
