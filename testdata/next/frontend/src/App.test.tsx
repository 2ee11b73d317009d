import { afterEach, beforeEach, expect, jest, test } from "@jest/globals";
import { cleanup, configure, fireEvent, render, screen } from "@testing-library/react";

import type { Extraction } from "./api";
import { App } from "./App";

configure({ asyncUtilTimeout: 10_000 }); // A busy machine is slow, not wrong.

const PHOTO: Extraction = {
  id: 7,
  file_name: "photo.jpg",
  sha256: "ab".repeat(32),
  size_bytes: 4213,
  mime_type: "image/jpeg",
  kind: "image",
  created_at: "2026-11-16T14:40:00Z",
  metadata: { EXIF: { Make: "Acme" } },
};

/** Answers each request with what the backend would say. */
const backend = jest.fn<(method: string, path: string) => { status: number; body: unknown }>();

beforeEach(() => {
  globalThis.fetch = (path, init) => {
    const { status, body } = backend(init?.method ?? "GET", String(path));
    const response = { ok: status < 400, status, json: () => Promise.resolve(body) };
    return Promise.resolve(response as Response);
  };
  backend.mockReturnValue({ status: 200, body: [] });
});

afterEach(cleanup);

function choose(file: File) {
  fireEvent.change(screen.getByLabelText(/choose a file/i), { target: { files: [file] } });
}

test("an empty list says so", async () => {
  render(<App />);
  expect(await screen.findByText("Nothing yet.")).toBeTruthy();
});

test("a chosen file is uploaded, shown and listed", async () => {
  render(<App />);
  await screen.findByText("Nothing yet.");

  backend.mockReturnValue({ status: 201, body: PHOTO });
  choose(new File(["x"], "photo.jpg"));

  expect(await screen.findByRole("heading", { name: "photo.jpg" })).toBeTruthy();
  expect(screen.getByRole("cell", { name: "Acme" })).toBeTruthy();
  expect(screen.getAllByText("image")).toHaveLength(2);
  expect(screen.getByRole("button", { name: /photo\.jpg/ })).toBeTruthy();
  expect(backend).toHaveBeenLastCalledWith("POST", "/api/extractions");
});

test("a recent extraction is opened by its id", async () => {
  backend.mockImplementation((_, path) =>
    path.endsWith("/7") ? { status: 200, body: PHOTO } : { status: 200, body: [PHOTO] },
  );
  render(<App />);

  fireEvent.click(await screen.findByRole("button", { name: /photo\.jpg/ }));

  expect(await screen.findByRole("heading", { name: "photo.jpg" })).toBeTruthy();
  expect(backend).toHaveBeenLastCalledWith("GET", "/api/extractions/7");
});

test("an extraction of the backend before this release is shown without a kind", async () => {
  const { kind, ...old } = PHOTO;
  backend.mockReturnValue({ status: 200, body: [old] });
  render(<App />);

  expect(await screen.findByRole("button", { name: /photo\.jpg/ })).toBeTruthy();
  expect(screen.queryByText(String(kind))).toBeNull();
});

test("the reason for a refusal is shown", async () => {
  render(<App />);
  await screen.findByText("Nothing yet.");

  backend.mockReturnValue({ status: 422, body: { detail: "The file is empty." } });
  choose(new File([], "empty.bin"));

  expect((await screen.findByRole("alert")).textContent).toBe("The file is empty.");
});

test("an answer that is not from the backend is named by its status", async () => {
  backend.mockReturnValue({ status: 502, body: "<html>" });
  render(<App />);
  expect((await screen.findByRole("alert")).textContent).toBe("The server answered 502.");
});
