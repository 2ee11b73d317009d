"use strict";

// One long-lived Python process that answers questions: a JSON line in, a JSON line out, in order.
// It is started at the first call and again after it died; it ends when its input is closed,
// so it never outlives this process.

const { spawn } = require("node:child_process");
const path = require("node:path");
const readline = require("node:readline");

const SCRIPT = path.join(__dirname, "describer", "worker.py");

class Worker {
  #python;
  #script;
  #timeout;
  #child = null;
  #waiting = [];

  /** `timeout` is how many milliseconds one answer may take. */
  constructor(python = "python3", { script = SCRIPT, timeout = 10_000 } = {}) {
    this.#python = python;
    this.#script = script;
    this.#timeout = timeout;
  }

  /** The answer to one question. Rejects when Python dies, cannot be started or is too slow. */
  call(question) {
    const child = (this.#child ??= this.#start());
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => child.kill("SIGKILL"), this.#timeout);
      this.#waiting.push({ resolve, reject, timer });
      child.stdin.write(`${JSON.stringify(question)}\n`);
    });
  }

  /** Lets the process end when it has answered what it was asked. */
  stop() {
    this.#child?.stdin.end();
  }

  #start() {
    const child = spawn(this.#python, [this.#script], { stdio: ["pipe", "pipe", "inherit"] });
    const died = (reason) => {
      if (this.#child !== child) return;
      this.#child = null;
      const error = new Error(`run ${this.#python} ${path.basename(this.#script)}: ${reason}`);
      for (const { reject, timer } of this.#waiting.splice(0)) {
        clearTimeout(timer);
        reject(error);
      }
    };
    child.on("error", (error) => died(error.message));
    child.on("exit", (code, signal) => died(`ended by ${signal ?? `exit code ${code}`}`));
    child.stdin.on("error", () => {}); // Broken pipe: "exit" says why.
    readline.createInterface({ input: child.stdout }).on("line", (line) => {
      const { resolve, timer } = this.#waiting.shift();
      clearTimeout(timer);
      resolve(JSON.parse(line));
    });
    return child;
  }
}

module.exports = { Worker };
