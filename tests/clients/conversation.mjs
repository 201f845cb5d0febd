// The speaker of conversation.py for clients in JavaScript: the same argument, the same reports.

import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const LEAD_S = 0.4; // of silence before the first phrase
const PATIENCE_MS = 30_000; // without any sound of an answer

const require = createRequire(`${process.env.SCA_CLIENTS}/node/`);

// Imports a package of the folder of clients.
export const load = (name) => import(pathToFileURL(require.resolve(name)));

// The installed version of a package.
export const version = (name) =>
  JSON.parse(readFileSync(`${process.env.SCA_CLIENTS}/node/node_modules/${name}/package.json`)).version;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export class Conversation {
  constructor(run) {
    Object.assign(this, { run, hz: 24_000, answers: [], problems: [], notes: {}, changed: 0, playsUntil: 0 });
    const [, ...paths] = run.phrases.find(([rate]) => rate === this.hz);
    this.phrases = paths.map((path) => readFileSync(path));
  }

  // Plays sound of an answer with an id.
  play(buffer, id) {
    const sound = Buffer.from(buffer);
    let current = this.answers.at(-1);
    if (!current || current.id !== id) {
      this.end('replaced');
      current = { id, sound: [], size: 0, end: null, late: 0 };
      this.answers.push(current);
    } else if (current.end !== null) current.late += sound.length;
    current.sound.push(sound);
    current.size += sound.length;
    this.changed = Date.now();
    this.playsUntil = Math.max(this.playsUntil, this.changed) + this.ms(sound.length);
  }

  ms(size) {
    return (1000 * size) / 2 / this.hz;
  }

  // How much of the current answer was played.
  playedMs() {
    const left = Math.max(0, this.playsUntil - Date.now());
    return Math.floor(Math.max(0, this.ms(this.answers.at(-1).size) - left));
  }

  // Whether an answer is being played, or not complete.
  get isPlaying() {
    return this.answers.length > 0 && this.answers.at(-1).end === null;
  }

  // The client was told to stop playing. Ends the current answer, if it is not over.
  interrupt() {
    this.end('interrupted');
    this.playsUntil = 0;
  }

  // All sound of the answer has arrived. It is over when it was played.
  complete() {
    if (!this.isPlaying) return;
    setTimeout((answer) => this.end('done', answer), Math.max(0, this.playsUntil - Date.now()), this.answers.at(-1));
  }

  fail(problem) {
    this.problems.push(String(problem).slice(0, 500));
  }

  end(how, answer = this.answers.at(-1)) {
    if (this.isPlaying && answer === this.answers.at(-1)) answer.end = how;
  }

  // Yields pieces of sound in real time until the conversation is over.
  async *microphone() {
    const pieceMs = this.run.piece_ms;
    const begin = Date.now();
    let count = 0;
    let free = 0;
    for (const [piece, stalls] of this.pieces()) {
      count += 1;
      if (stalls) free = Date.now() + 1000 * this.run.stall_s;
      const due = Math.max(begin + count * pieceMs, free);
      while (due > Date.now()) await sleep(due - Date.now());
      yield piece;
    }
  }

  *pieces() {
    const size = ((this.hz * this.run.piece_ms) / 1000) * 2;
    const silence = Buffer.alloc(size);
    let left = Buffer.alloc(0);
    const [first, second] = this.phrases;
    const lead = Buffer.alloc(LEAD_S * this.hz * 2);
    for (const part of [lead, first, () => this.isInterruptible(), second, () => this.isOver()]) {
      if (typeof part === 'function') {
        while (!part()) yield [silence, false];
        continue;
      }
      const sound = Buffer.concat([left, part]);
      const middle = Math.floor(sound.length / 2 / size) * size;
      let at = 0;
      for (; at + size <= sound.length; at += size) yield [sound.subarray(at, at + size), part !== lead && at === middle];
      left = sound.subarray(at);
    }
  }

  waitedTooLong() {
    this.changed ||= Date.now();
    if (Date.now() - this.changed < PATIENCE_MS) return false;
    this.fail(`no sound of an answer for ${PATIENCE_MS / 1000} s`);
    return true;
  }

  isInterruptible() {
    return (this.answers.length > 0 && this.playedMs() > 1000 * this.run.heard_s) || this.waitedTooLong();
  }

  isOver() {
    return (this.answers.length > 1 && this.answers.at(-1).end === 'done') || this.waitedTooLong();
  }

  report(client, version_) {
    const answers = this.answers.map(({ sound, end, late }, i) => {
      const path = `${this.run.out}-${i}.raw`;
      writeFileSync(path, Buffer.concat(sound));
      return { sound: path, end, late };
    });
    const { run, hz, problems, notes } = this;
    return { client, version: version_, run: run.name, hz, width: 2, answers, problems, notes };
  }
}

// Runs all conversations of a client at the same time, and prints their reports.
export async function main(client, version_, converse) {
  const { runs } = JSON.parse(process.argv.at(-1));
  await Promise.all(
    runs.map(async (run) => {
      const conversation = new Conversation(run);
      const late = new Promise((_, reject) => setTimeout(() => reject(new Error('the conversation does not end')), 4 * PATIENCE_MS).unref());
      try {
        await Promise.race([converse(conversation), late]);
      } catch (error) {
        conversation.fail(error.stack ?? error);
      }
      console.log(JSON.stringify(conversation.report(client, version_)));
    }),
  );
  process.exit(0);
}
