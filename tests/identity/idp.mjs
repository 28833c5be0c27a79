// A real OpenID Connect provider (npm oidc-provider, certified) that misbehaves when a test asks it to.
// Listens on a free port of loopback, prints it, and ends with its standard input.
import { createServer } from 'node:http';
import { createHmac, createPrivateKey, generateKeyPairSync, sign } from 'node:crypto';
import Provider from 'oidc-provider';

const CALLBACK = process.env.IDP_CALLBACK;
const PORT = Number(process.env.IDP_PORT);
const ISSUER = `http://127.0.0.1:${PORT}`;
const ALG = process.env.IDP_ALG ?? 'ES256';

// By way of PEM: Node exports a JWK under the key's mutex, and a garbage collection just then that frees
// the job which made that very key takes it again, for ever (seen with 20.20.2).
const AS_PEM = { publicKeyEncoding: { type: 'spki', format: 'pem' }, privateKeyEncoding: { type: 'pkcs8', format: 'pem' } };

function makeKey(alg, kid) {
  const pair = alg === 'RS256'
    ? generateKeyPairSync('rsa', { modulusLength: 2048, ...AS_PEM })
    : generateKeyPairSync('ec', { namedCurve: 'P-256', ...AS_PEM });
  return { ...createPrivateKey(pair.privateKey).export({ format: 'jwk' }), alg, use: 'sig', kid };
}

const keys = [makeKey('ES256', 'es-1'), makeKey('RS256', 'rs-1')];
const rogue = { ES256: makeKey('ES256', 'es-1'), RS256: makeKey('RS256', 'rs-1') }; // same ids, not published
const rotated = makeKey('ES256', 'es-2'); // published once a test says so
const people = new Map();
let mode = {};
const counts = {};

const publicPart = ({ kty, crv, x, y, n, e, alg, use, kid }) => ({ kty, crv, x, y, n, e, alg, use, kid });
const client = (id, more) => ({
  client_id: id, response_types: ['code'], grant_types: ['authorization_code', 'refresh_token'],
  id_token_signed_response_alg: ALG, ...more,
});

const provider = new Provider(ISSUER, {
  jwks: { keys },
  clients: [
    client('webapp', {
      client_secret: 'webapp-secret', redirect_uris: [CALLBACK], token_endpoint_auth_method: 'client_secret_basic',
      post_logout_redirect_uris: [CALLBACK.replace('/api/auth/oidc/callback', '/login')],
    }),
    client('cli', {
      redirect_uris: ['http://127.0.0.1/cb'], application_type: 'native', token_endpoint_auth_method: 'none',
    }),
  ],
  cookies: { keys: ['test-only'] },
  claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name', 'preferred_username', 'groups'] },
  scopes: ['openid', 'offline_access', 'profile', 'email', 'api'],
  pkce: { required: () => true },
  enabledJWA: { idTokenSigningAlgValues: ['ES256', 'RS256'] },
  features: {
    devInteractions: { enabled: true },
    rpInitiatedLogout: { enabled: true },
    resourceIndicators: {
      enabled: true, defaultResource: () => undefined, useGrantedResource: () => true,
      getResourceServerInfo: (_ctx, resource) => ({
        scope: 'api email profile', audience: resource, accessTokenFormat: 'jwt', accessTokenTTL: 300, jwt: { sign: { alg: ALG } },
      }),
    },
  },
  findAccount: async (_ctx, id) => ({
    accountId: id,
    claims: async () => ({
      sub: id, email: `${id}@idp.example`, email_verified: true, name: `Name ${id}`, preferred_username: id, ...people.get(id),
    }),
  }),
  ttl: { AccessToken: 600, IdToken: 600, Interaction: 600, Session: 3600, Grant: 3600, AuthorizationCode: 60 },
});

const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

function signed(header, payload, key) {
  const input = `${part(header)}.${part(payload)}`;
  const options = header.alg === 'ES256' ? { dsaEncoding: 'ieee-p1363' } : {};
  const signature = sign('sha256', Buffer.from(input), { key: createPrivateKey({ key, format: 'jwk' }), ...options });
  return `${input}.${signature.toString('base64url')}`;
}

// The token again with `change` (null removes a claim), signed as `how` says.
function resign(token, change, how) {
  const [header, payload] = token.split('.').slice(0, 2).map((x) => JSON.parse(Buffer.from(x, 'base64url')));
  return mint(header, { ...payload, ...change }, how);
}

function mint(header, payload, how) {
  for (const name in payload) if (payload[name] === null) delete payload[name];
  if (how === 'none') return `${part({ ...header, alg: 'none' })}.${part(payload)}.`;
  if (how === 'hs256') {
    const input = `${part({ ...header, alg: 'HS256' })}.${part(payload)}`;
    return `${input}.${createHmac('sha256', 'webapp-secret').update(input).digest('base64url')}`;
  }
  if (how === 'rotated') return signed({ ...header, alg: 'ES256', kid: 'es-2' }, payload, rotated);
  if (how === 'unknown') return signed({ ...header, kid: 'nobody' }, payload, rogue[header.alg]);
  if (how === 'nokid') delete header.kid;
  return signed(header, payload, how === 'rogue' ? rogue[header.alg] : keys.find((key) => key.alg === header.alg));
}

provider.use(async (ctx, next) => {
  await next();
  const route = ctx.oidc?.route;
  if (route === 'token' && ctx.body?.id_token) {
    if (mode.drop_id_token) ctx.body = { ...ctx.body, id_token: undefined };
    else if (mode.id_token || mode.sign) ctx.body = { ...ctx.body, id_token: resign(ctx.body.id_token, mode.id_token ?? {}, mode.sign) };
  }
  if (route === 'userinfo' && mode.userinfo && typeof ctx.body === 'object') ctx.body = { ...ctx.body, ...mode.userinfo };
  if (route === 'userinfo' && mode.userinfo_status) { ctx.status = mode.userinfo_status; ctx.body = { error: 'test' }; }
  if (route === 'discovery' && mode.discovery) ctx.body = { ...ctx.body, ...mode.discovery };
  if (route === 'jwks' && mode.rotate) ctx.body = { keys: [...ctx.body.keys, publicPart(rotated)] };
});

const handler = provider.callback();
const server = createServer(async (request, response) => {
  const path = request.url.split('?')[0];
  if (!path.startsWith('/__test/')) {
    counts[path] = (counts[path] ?? 0) + 1;
    handler(request, response);
    return;
  }
  let raw = '';
  for await (const piece of request) raw += piece;
  const body = raw ? JSON.parse(raw) : {};
  const answer = { counts };
  if (path === '/__test/person') people.set(body.login, body.claims);
  if (path === '/__test/mode') mode = body;
  if (path === '/__test/jwt') {
    answer.token = mint({ alg: ALG, kid: ALG === 'ES256' ? 'es-1' : 'rs-1', typ: body.typ ?? 'at+jwt' }, body.claims, body.sign);
  }
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify(answer));
});
server.listen(PORT, '127.0.0.1', () => console.log(`ready ${ISSUER}`));
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
