"""HTML building blocks: escaping, and roles for screen readers."""

from wav2lip.reporting import html


def test_page_escapes_its_title():
    page = html.page("a < b", "<p>body</p>", "p {}", "run()")
    assert "<title>a &lt; b</title>" in page
    assert "<p>body</p>" in page
    assert page.count("<script>") == 1
    assert "<script>" not in html.page("a", "", "")


def test_table_aligns_numeric_columns():
    table = html.table(["name", "<n>"], [["a", "1"], ["b", "2"]], numeric=(1,))
    assert '<th class="numeric">&lt;n&gt;</th>' in table
    assert table.count('<td class="numeric">') == 2
    assert "role=" not in table


def test_labeled_table_has_roles():
    table = html.table(["name"], [["a"]], label='a "table"')
    assert 'role="table" aria-label="a &quot;table&quot;"' in table
    assert all(f'role="{role}"' in table for role in ("rowgroup", "row", "columnheader", "cell"))


def test_image_is_embedded():
    assert html.jpeg_image(b"abc", "<face>") == '<img src="data:image/jpeg;base64,YWJj" alt="&lt;face&gt;">'
