import { expect } from "@jest/globals";
import { fc, test } from "@fast-check/jest";

import { formatSize, truncateMiddle } from "./format";

const SCALE: Record<string, number> = { B: 1, kB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12, PB: 1e15 };

function parse(text: string): { value: number; scale: number } {
  const [value, unit] = text.split(" ");
  return { value: Number(value), scale: SCALE[unit ?? ""] ?? NaN };
}

const size = fc.maxSafeNat();

test.prop([size])("a size is said within half of its last digit", (bytes) => {
  const { value, scale } = parse(formatSize(bytes));
  const half = scale === 1 ? 0 : 0.05 * scale;
  expect(Math.abs(value * scale - bytes)).toBeLessThanOrEqual(half * 1.000001);
});

test.prop([fc.oneof(size, fc.integer({ min: 0, max: 6 }).map((digits) => 10 ** digits * 999.95))])(
  "a number of a thousand or more has no bigger unit",
  (bytes) => {
    const { value, scale } = parse(formatSize(Math.round(bytes)));
    expect(value < 1000 || scale === 1e15).toBe(true);
  },
);

test.prop([size, size])("a bigger file is never said to be smaller", (a, b) => {
  const said = [Math.min(a, b), Math.max(a, b)].map((bytes) => {
    const { value, scale } = parse(formatSize(bytes));
    return value * scale;
  });
  expect(said[0]).toBeLessThanOrEqual((said[1] ?? 0) * 1.000001);
});

const name = fc.string({ unit: "grapheme", maxLength: 80 });
const max = fc.integer({ min: 1, max: 40 });

test.prop([name, max])("a shortened name is never longer than asked for", (name, max) => {
  expect(Array.from(truncateMiddle(name, max)).length).toBeLessThanOrEqual(max);
});

test.prop([name, max])("a shortened name begins and ends as the name does", (name, max) => {
  const short = Array.from(truncateMiddle(name, max));
  if (short.join("") === name) return;
  const head = Math.ceil((max - 1) / 2);
  expect(short[head]).toBe("…");
  expect(name.startsWith(short.slice(0, head).join(""))).toBe(true);
  expect(name.endsWith(short.slice(head + 1).join(""))).toBe(true);
});
