/*
 * @coze/api with tokens of bearerd:
 *
 *     import { CozeAPI } from '@coze/api';
 *     import { bearerd } from './bearerd.mjs';
 *
 *     const coze = new CozeAPI({ token: bearerd('bot'), baseURL: 'https://api.coze.cn' });
 *
 * The SDK calls the function before each request. The daemon answers from memory, so keep no copy
 * of the token. To have a token renewed that the API refuses, and the request sent once more:
 *
 *     import axios from 'axios';
 *
 *     const token = bearerd('bot');
 *     const coze = new CozeAPI({ token, axiosInstance: token.renewed(axios), baseURL });
 */

import { createHash } from 'node:crypto';
import http from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';

const socketPath = process.env.BEARERD_SOCKET ?? '/run/bearerd/bearerd.sock';
const patience = 2000; // ms for a daemon that is being restarted
const refusals = [4100, 700012006]; // codes of the API: the token is not valid

/* A function that gets the token of a credential, or of an end user (subject) below it. */
export function bearerd(credential, subject = '') {
  const [name, user] = [credential, subject].map(encodeURIComponent);
  const path = `/v1/token/${name}?subject=${user}`;
  const token = () => get(path);

  token.renewed = (axios) => async (request) => {
    try {
      const response = await axios(request);
      if (!refusals.includes(response.data?.code) || request.data?.pipe) return response;
    } catch (e) {
      if (e.response?.status !== 401 || request.data?.pipe) throw e; // a stream is gone
    }
    const refused = request.headers.authorization.split(' ')[1];
    const fingerprint = createHash('sha256').update(refused).digest('hex').slice(0, 16);
    const authorization = `Bearer ${await get(`${path}&rejected=${fingerprint}`)}`;
    return axios({ ...request, headers: { ...request.headers, authorization } });
  };
  return token;
}

async function get(path) {
  for (const end = Date.now() + patience; ; await pause(100)) {
    try {
      const { status, body } = await ask(path);
      if (status === 200) return body;
      throw new Error(JSON.parse(body).error_description);
    } catch (e) {
      if (!e.syscall && e.code !== 'ECONNRESET') throw e;
      if (Date.now() > end) throw new Error(`no answer from bearerd: ${e.message}`);
    }
  }
}

function ask(path) {
  return new Promise((resolve, reject) => {
    const options = { socketPath, path, headers: { Accept: 'text/plain' }, agent: false };
    http
      .get(options, (response) => {
        let body = '';
        response.setEncoding('utf8');
        response.on('data', (piece) => (body += piece));
        response.on('end', () => resolve({ status: response.statusCode, body }));
        response.on('error', reject);
      })
      .on('error', reject);
  });
}
