"""A real browser, headless, at a site of a test's own."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

CHROMIUM = shutil.which("chromium")
CHROMEDRIVER = shutil.which("chromedriver")
OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
    *("--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--hide-scrollbars"),
)
SECONDS = 60

needs_browser = pytest.mark.skipif(
    not (CHROMIUM and CHROMEDRIVER), reason="no chromium and chromedriver in PATH"
)


# Colours would change bit by bit, and be looked at half-way.
_NO_TRANSITIONS = """
if (!window.isStill) {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync("* { transition: none !important; animation: none !important; }");
  document.adoptedStyleSheets.push(sheet);
  window.isStill = true;
}
"""
# What is too wide, if anything is.
_WIDE = """
if (document.documentElement.scrollWidth <= arguments[0]) return [];
return [...document.querySelectorAll("body *")]
  .filter((each) => each.getBoundingClientRect().right > arguments[0])
  .map((each) => each.outerHTML.slice(0, 100));
"""
# What looks the same with the focus, of all that can have it. Another colour of the
# text alone is not seen by all.
_UNSEEN = """
const look = (each) => {
  const style = getComputedStyle(each);
  const outline = [style.outlineStyle, style.outlineWidth, style.outlineColor];
  return [
    style.outlineStyle === "none" ? "" : outline, style.boxShadow,
    style.borderColor, style.backgroundColor, style.textDecorationLine,
  ].join();
};
const all = "a[href], button, input, select, textarea, summary, [tabindex='0']";
const unseen = [...document.querySelectorAll(all)].filter((each) => {
  if (each.type === "hidden" || !each.checkVisibility()) return false;
  document.activeElement.blur();
  const before = look(each);
  each.focus({preventScroll: true, focusVisible: true});
  return document.activeElement === each && look(each) === before;
}).map((each) => each.outerHTML.slice(0, 200));
document.activeElement.blur();
return unseen;
"""


class Browser:
    """
    A browser at a site.

    Attributes:
        driver: What drives it.
        url: Of the site, without a slash at its end.
    """

    def __init__(self, driver: webdriver.Chrome, url: str) -> None:
        self.driver = driver
        self.url = url

    def visit(self, path: str) -> None:
        self.driver.get(f"{self.url}{path}")

    def status(self) -> int:
        """Return the status with which the page was sent."""
        found: int = self.driver.execute_script(
            "return performance.getEntriesByType('navigation')[0].responseStatus"
        )
        return found

    def complaints(self) -> list[str]:
        """
        Return what the browser has to say about pages since it was last asked.

        That is what scripts wrote or failed of, and what it did not run or apply. That
        a page itself has another status than 200 is none, nor the admin's lack of an
        icon.
        """
        said = [each["message"] for each in self.driver.get_log("browser")]
        page = f"{self.driver.current_url} - Failed to load resource"
        return [
            each for each in said if "favicon" not in each and not each.startswith(page)
        ]

    def too_wide(self, width: int) -> list[str]:
        """Return which elements have the page scroll sideways at a width."""
        found: list[str] = self.driver.execute_script(_WIDE, width)
        return found

    def stand_still(self) -> None:
        """Have what changes on this page do so at once."""
        self.driver.execute_script(_NO_TRANSITIONS)

    def without_focus(self) -> list[str]:
        """Return what does not look as if it had the focus when it has it."""
        self.stand_still()
        # Who uses a mouse is shown less.
        key = {"key": "Shift", "code": "ShiftLeft", "windowsVirtualKeyCode": 16}
        for kind in ("rawKeyDown", "keyUp"):
            self.driver.execute_cdp_cmd("Input.dispatchKeyEvent", {"type": kind, **key})
        found: list[str] = self.driver.execute_script(_UNSEEN)
        return found

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def texts(self, selector: str) -> list[str]:
        return [element.text for element in self.all(selector)]

    def follow(self, text: str) -> None:
        self.leave_by(self.driver.find_element(By.LINK_TEXT, text))

    def submit(self, **values: str) -> None:
        """Fill in the page's form and send it off."""
        for name, value in values.items():
            field = self.driver.find_element(By.NAME, name)
            field.clear()
            field.send_keys(value)
        (button,) = self.all("main [type=submit], #login-form [type=submit]")
        self.leave_by(button)

    def log_in(self, name: str, password: str, page: str) -> None:
        """Log in to the admin, and go to a page from there."""
        self.visit(f"/admin/login/?next={page}")
        self.submit(username=name, password=password)

    def resize(self, width: int, height: int = 900) -> None:
        """Have the window be of a size; narrow ones are phones'."""
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {
                "width": width,
                "height": height,
                "deviceScaleFactor": 1,
                "mobile": width < 600,
            },
        )

    def prefer(self, scheme: str) -> None:
        """Have the user prefer ``light`` or ``dark``."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.driver.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [feature]}
        )

    def wait_until(self, condition: Callable[[], object]) -> None:
        """Wait until a condition is true; fail if that takes too long."""
        WebDriverWait(self.driver, SECONDS).until(lambda _: condition())

    def leave_by(self, element: WebElement) -> None:
        """Click something that leads to another page, and wait for that."""
        self.driver.execute_script("window.isLeft = true")
        element.click()
        # In between two pages chromedriver has various errors for any question.
        WebDriverWait(
            self.driver, SECONDS, ignored_exceptions=[WebDriverException]
        ).until(_is_another_page)


def _is_another_page(driver: webdriver.Chrome) -> bool:
    return driver.execute_script(
        "return !window.isLeft && document.readyState === 'complete'"
    )


@contextmanager
def chromium(folder: Path) -> Iterator[webdriver.Chrome]:
    """
    Run a browser until the block ends.

    Args:
        folder: Where it keeps what it keeps.
    """
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for option in (*OPTIONS, f"--user-data-dir={folder}"):
        options.add_argument(option)
    service = webdriver.ChromeService(CHROMEDRIVER)
    with webdriver.Chrome(options=options, service=service) as driver:
        yield driver


@contextmanager
def new_tab(driver: webdriver.Chrome, url: str) -> Iterator[Browser]:
    """
    Have a browser as it is when it is new, in a tab of its own, until the block ends.

    Args:
        driver: One that runs; what it knew of the site is gone.
        url: Of the site.
    """
    old = driver.current_window_handle
    driver.switch_to.new_window("tab")
    new = driver.current_window_handle
    driver.switch_to.window(old)
    driver.close()
    driver.switch_to.window(new)
    driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
    driver.execute_cdp_cmd(
        "Storage.clearDataForOrigin", {"origin": url, "storageTypes": "all"}
    )
    driver.get_log("browser")
    try:
        yield Browser(driver, url)
    finally:
        # A page's scripts ask the site, which may be gone then.
        driver.get("about:blank")


@contextmanager
def browsing(url: str, folder: Path) -> Iterator[Browser]:
    """
    Open a browser until the block ends.

    Args:
        url: Of the site.
        folder: Where it keeps what it keeps.
    """
    with chromium(folder) as driver:
        yield Browser(driver, url)
