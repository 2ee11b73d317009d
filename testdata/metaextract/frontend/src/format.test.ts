import { describe, expect, test } from "@jest/globals";

import { formatSize, formatWhen, truncateMiddle } from "./format";

describe("formatSize", () => {
  test.each([
    [0, "0 B"],
    [999, "999 B"],
    [1000, "1.0 kB"],
    [1_234_567, "1.2 MB"],
    [999_949, "999.9 kB"],
    [999_950, "1.0 MB"],
    [5e12, "5.0 TB"],
  ])("says %d as %s", (bytes, text) => {
    expect(formatSize(bytes)).toBe(text);
  });
});

describe("truncateMiddle", () => {
  test("leaves a short name alone", () => {
    expect(truncateMiddle("photo.jpg", 32)).toBe("photo.jpg");
  });

  test("keeps the start and the type of a long name", () => {
    expect(truncateMiddle("holiday-at-the-seaside.jpg", 13)).toBe("holida…de.jpg");
  });

  test("does not cut a character in two", () => {
    expect(truncateMiddle("🌊🌊🌊🌊🌊🌊", 3)).toBe("🌊…🌊");
  });
});

describe("formatWhen", () => {
  test("says a timestamp in words", () => {
    expect(formatWhen("2026-11-16T14:40:00")).toBe("16 Nov 2026, 14:40");
  });

  test("shows what is not a timestamp as it is", () => {
    expect(formatWhen("yesterday")).toBe("yesterday");
  });
});
