"""Actions of a user on the page in a browser."""

from __future__ import annotations


def open_tab(page, name: str) -> None:
    """Select a tab; on a narrow screen it may be in a menu."""
    page.wait_for_selector("[role=tab]")
    tab = page.get_by_role("tab", name=name)
    if not tab.count():
        page.get_by_role("button", name="More tabs").click()
        tab = page.locator(".overflow-dropdown button", has_text=name)
    tab.click()


def press(page, selector: str) -> None:
    """Click a button while the layout moves, where a click of the mouse is lost between its press and its release."""
    page.locator(selector).dispatch_event("click")
