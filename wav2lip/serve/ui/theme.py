"""Theme of the page: one accent color, system fonts, light and dark mode; no requests to other hosts."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

STYLESHEET = Path(__file__).with_name("style.css")
SYSTEM_FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")  # installed ones only
MONOSPACE_FONTS = ("ui-monospace", "SFMono-Regular", "Consolas", "monospace")
ACCENT = gr.themes.Color("#eef8f5", "#d5efe8", "#ace0d3", "#7bcab8", "#4bb3a0", "#37998a", "#2d8072", "#25665b",
                         "#1f5149", "#1a433d", "#0e2723", name="accent")  # fmt: skip
NEUTRAL = gr.themes.Color("#fafaf8", "#f3f2ee", "#e4e1d8", "#cbc8bf", "#9aa0a3", "#6d757c", "#525a61", "#3a4148",
                          "#262b30", "#1d2125", "#15181b", name="neutral")  # fmt: skip


def build_theme() -> gr.themes.Base:
    """Build the theme of the page."""
    base = gr.themes.Base(
        primary_hue=ACCENT,
        secondary_hue=ACCENT,
        neutral_hue=NEUTRAL,
        spacing_size=gr.themes.sizes.spacing_md,
        radius_size=gr.themes.sizes.radius_lg,
        text_size=gr.themes.sizes.text_md,
        font=SYSTEM_FONTS,
        font_mono=MONOSPACE_FONTS,
    )
    return base.set(
        body_background_fill="#f7f6f2",
        body_background_fill_dark="*neutral_950",
        background_fill_secondary="*neutral_50",
        background_fill_secondary_dark="*neutral_900",
        body_text_color="#1e2328",
        body_text_color_dark="#e6e8ea",
        body_text_color_subdued="*neutral_500",
        body_text_color_subdued_dark="*neutral_400",
        block_background_fill="white",
        block_background_fill_dark="*neutral_900",
        block_border_color="*neutral_200",
        block_border_color_dark="*neutral_700",
        block_label_background_fill="transparent",
        block_label_background_fill_dark="transparent",
        block_label_border_width="0px",
        block_label_border_width_dark="0px",
        block_label_text_color="*body_text_color",
        block_label_text_color_dark="*body_text_color",
        block_label_text_weight="600",
        block_title_text_weight="600",
        block_title_text_color="*body_text_color",
        block_title_text_color_dark="*body_text_color",
        block_shadow="none",
        block_shadow_dark="none",
        input_background_fill="*neutral_50",
        input_background_fill_dark="*neutral_800",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover_dark="*primary_500",
        button_primary_text_color="white",
        button_primary_text_color_dark="white",
        button_secondary_background_fill="white",
        button_secondary_background_fill_dark="*neutral_800",
        button_secondary_border_color="*neutral_300",
        button_secondary_border_color_dark="*neutral_600",
        button_border_width="1px",
        button_border_width_dark="1px",
        button_primary_border_color="transparent",
        button_primary_border_color_dark="transparent",
        button_large_radius="*radius_lg",
        slider_color="*primary_600",
        slider_color_dark="*primary_500",
        link_text_color="*primary_700",
        link_text_color_dark="*primary_400",
    )
