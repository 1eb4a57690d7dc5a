import type { NextConfig } from 'next'

const config: NextConfig = {
  output: 'standalone',
  // Where a CDN serves /_next/static. Turbopack writes it into what the server renders, so it cannot come later.
  assetPrefix: process.env.ASSET_PREFIX?.replace(/\/+$/, '') || undefined,
  // Without it Next looks for lock files in the folders above and may nest the
  // output under the path it finds there.
  outputFileTracingRoot: import.meta.dirname,
  // No image is resized here, and sharp is the only native code Next would bring.
  outputFileTracingExcludes: { '/*': ['node_modules/sharp/**', 'node_modules/@img/**'] },
  // migrate.mjs needs the driver as a plain module beside it.
  serverExternalPackages: ['pg'],
  images: { unoptimized: true },
  poweredByHeader: false,
  // nginx compresses at the edge; doing it twice only costs the app's CPU.
  compress: false,
  // Every node must name its assets alike, so the id comes from the sources.
  generateBuildId: () => process.env.BUILD_RELEASE ?? 'development',
  headers: async () => [
    {
      source: '/:path*',
      headers: [
        { key: 'X-Content-Type-Options', value: 'nosniff' },
        { key: 'X-Frame-Options', value: 'DENY' },
        { key: 'Referrer-Policy', value: 'same-origin' },
      ],
    },
  ],
}

export default config
