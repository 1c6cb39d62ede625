"""Stands in for Google Colab: folders of this machine for the user's Drive and computer."""
