"use strict";

// The real Python process. PYTHON names the interpreter that has requirements.txt installed.

const { Worker } = require("../worker");

const script = require.resolve("./stand-in.js");
const python = process.env.PYTHON ?? "python3";
let worker;

afterEach(() => worker.stop());

test("questions are answered in order", async () => {
  worker = new Worker(python);
  const texts = ["one", "one two", "one two three"];
  const answers = await Promise.all(texts.map((text) => worker.call({ text })));
  expect(answers.map((answer) => answer.words)).toEqual([1, 2, 3]);
});

test("a process that died is replaced at the next question", async () => {
  worker = new Worker(process.execPath, { script });
  await expect(worker.call({ text: "die" })).rejects.toThrow("ended by exit code 3");
  expect(await worker.call({ text: "again" })).toEqual({ text: "again" });
});

test("a process that is too slow is killed", async () => {
  worker = new Worker(process.execPath, { script, timeout: 50 });
  await expect(worker.call({ text: "slow" })).rejects.toThrow("ended by SIGKILL");
});

test("a Python that is not there is named", async () => {
  worker = new Worker("no-such-python");
  await expect(worker.call({ text: "" })).rejects.toThrow("run no-such-python worker.py");
});
