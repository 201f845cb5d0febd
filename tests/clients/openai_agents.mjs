// `RealtimeSession` of the package @openai/agents over a WebSocket, as in its guide for servers.

import { load, main, version } from './conversation.mjs';

const { RealtimeAgent, RealtimeSession } = await load('@openai/agents/realtime');

async function converse(conversation) {
  const { url, key, model } = conversation.run;
  const agent = new RealtimeAgent({ name: 'Greeter', instructions: 'Be brief.' });
  const session = new RealtimeSession(agent, { transport: 'websocket', model });
  session.on('audio', (event) => conversation.play(event.data, event.responseId));
  session.on('audio_interrupted', () => conversation.interrupt());
  session.on('agent_end', () => conversation.complete());
  session.on('error', (event) => conversation.fail(JSON.stringify(event.error?.error ?? event.error ?? event)));
  await session.connect({ apiKey: key, url: `${url.replace('http', 'ws')}/v1/realtime?model=${model}` });
  for await (const piece of conversation.microphone()) {
    session.sendAudio(piece.buffer.slice(piece.byteOffset, piece.byteOffset + piece.length));
  }
  conversation.notes.history = session.history.map((item) => item.role);
  session.close();
}

await main('@openai/agents', version('@openai/agents'), converse);
