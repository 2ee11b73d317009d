import { expect, test } from "@jest/globals";

import { toGroups } from "./metadata";

test("groups and tags are in the order of their names", () => {
  expect(
    toGroups({
      File: { ImageWidth: 96, FileType: "JPEG" },
      EXIF: { Make: "Acme" },
    }),
  ).toEqual([
    { name: "EXIF", rows: [{ tag: "Make", value: "Acme" }] },
    {
      name: "File",
      rows: [
        { tag: "File Type", value: "JPEG" },
        { tag: "Image Width", value: "96" },
      ],
    },
  ]);
});

test("tags are read as words", () => {
  const tags = toGroups({ g: { DateTimeOriginal: 1, GPSLatitude: 2, bit_rate: 3, ISO: 4 } });
  expect(tags[0]?.rows.map((row) => row.tag)).toEqual([
    "Date Time Original",
    "GPS Latitude",
    "ISO",
    "Bit rate",
  ]);
});

test("lists and objects are shown as text", () => {
  expect(toGroups({ XMP: { Subject: ["sea", "sand"], Size: { w: 1 } } })[0]?.rows).toEqual([
    { tag: "Size", value: '{"w":1}' },
    { tag: "Subject", value: "sea, sand" },
  ]);
});

test("an empty group is not shown", () => {
  expect(toGroups({ EXIF: {} })).toEqual([]);
});
